# SPDX-License-Identifier: Apache-2.0
"""Settings: environment variables and flags, parsed once."""
