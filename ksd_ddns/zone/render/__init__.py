# SPDX-License-Identifier: Apache-2.0
"""Facts -> text for people, JSON for programs, scripts for nsupdate: each fact is rendered here, in one place."""
