# SPDX-License-Identifier: Apache-2.0
"""Tests of the fake API server: it behaves as the real one."""
