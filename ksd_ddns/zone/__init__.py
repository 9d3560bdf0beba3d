# SPDX-License-Identifier: Apache-2.0
"""The pure core: values and rules, no sockets, no clock, no settings, no logging, no Kubernetes."""
