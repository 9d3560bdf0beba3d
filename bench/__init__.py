# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of ksd-ddns, each against another program that does the same work in the same run."""
