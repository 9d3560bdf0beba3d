# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API: list and watch VMIs, elect a leader, write Events. Configured as kubectl is.

The official client supplies only the ID token of the old auth-provider oidc. Its loader and transport do not fit:

- It ignores `as`, `as-groups`, `as-uid` and `as-user-extra`.
- When an exec plugin fails, it logs what the plugin printed, which may hold a token, and goes on without a credential.
  It has no timeout for plugins, and never renews a client certificate that a plugin printed.
- It reads the files of a kubeconfig once. A certificate or CA that is replaced is not used until a restart.
- Its TLS context is urllib3's own: no way to unset VERIFY_X509_STRICT or to set VERIFY_X509_PARTIAL_CHAIN.
- It hands a proxy's URL to urllib3 as it is: user and password in it are not sent to an HTTP proxy, and socks5 resolves
  names on this host. Its NO_PROXY does not skip loopback addresses, and has no `*.domain`.
- It has no total deadline, which a Lease needs.
- Its import takes half a second of each start.
"""
