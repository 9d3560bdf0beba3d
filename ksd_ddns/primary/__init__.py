# SPDX-License-Identifier: Apache-2.0
"""The DNS primary, over the wire: queries, transfers and updates, signed and verified."""
