# SPDX-License-Identifier: Apache-2.0
"""DNS as bytes: names, RRsets, messages, transfers, presentation format. Pure: no I/O."""
