# SPDX-License-Identifier: Apache-2.0
"""Authentication and authorization: bearer tokens, client certificates, and RBAC from manifests."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.kube.resources import Target
from harness.kube.status import unauthorized

MASTERS = "system:masters"
_AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class User:
    """The authenticated user of a request."""

    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
ADMIN = User("kubernetes-admin", (MASTERS, _AUTHENTICATED))


def service_account(namespace: str, name: str) -> User:
    """Return the user of a pod with this service account."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", _AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a (Cluster)Role bound to a user; `namespace` is None if it applies to all."""

    user: User
    namespace: str | None
    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()

    def allows(self, user: User, verb: str, target: Target) -> bool:
        return (
            _is(self.user, user)
            and _covers(self.verbs, verb)
            and self.namespace in (None, target.namespace)
            and _covers(self.groups, target.group)
            and (_covers(self.resources, target.qualified) or f"*/{target.subresource}" in self.resources)
            and (not self.names or target.name in self.names)
        )

    def allows_path(self, user: User, verb: str, path: str) -> bool:
        matches = any(path == one or (one.endswith("*") and path.startswith(one[:-1])) for one in self.paths)
        return matches and _is(self.user, user) and _covers(self.verbs, verb)


# Every cluster grants this to all authenticated users: discovery and self-reviews.
_BASIC = (
    Rule(User("", (_AUTHENTICATED,)), None, frozenset(("get",)),
         paths=frozenset(("/api", "/api/*", "/apis", "/apis/*", "/version", "/healthz", "/livez", "/readyz",
                          "/openapi", "/openapi/*"))),
    Rule(User("", (_AUTHENTICATED,)), None, frozenset(("create",)), frozenset(("authorization.k8s.io",)),
         frozenset(("selfsubjectaccessreviews",))),
)  # fmt: skip


def rules_of(documents: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """Return the rules that the bindings in the documents grant.

    ValueError if a binding names a missing role, which a real cluster ignores.
    """
    documents = [document for document in documents if document]
    roles = {
        (document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]): document
        for document in documents
        if document["kind"] in ("Role", "ClusterRole")
    }
    rules: list[Rule] = []
    for document in documents:
        if document["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        namespace = document["metadata"].get("namespace", "") if document["kind"] == "RoleBinding" else None
        ref = document["roleRef"]
        role = roles.get((ref["kind"], "" if ref["kind"] == "ClusterRole" else namespace or "", ref["name"]))
        if role is None:
            raise ValueError(f"{document['metadata']['name']} binds {ref['kind']} {ref['name']}, which is not there")
        for subject in document.get("subjects") or ():
            user = _subject(subject, namespace)
            rules += [
                Rule(user, namespace, _set(rule, "verbs"), _set(rule, "apiGroups"), _set(rule, "resources"),
                     _set(rule, "resourceNames"), _set(rule, "nonResourceURLs"))
                for rule in role.get("rules") or ()
            ]  # fmt: skip
    return rules


class Access:
    """Authenticator and authorizer.

    Without configuration everything is allowed. `require` makes requests without credentials those of
    system:anonymous, who may do nothing; `rules` set, everybody but system:masters needs a grant.
    """

    def __init__(self, *, require: bool = False) -> None:
        self.require = require
        self.tokens: dict[str, User] = {}
        self.rules: list[Rule] | None = None

    def add(self, user: User, token: str | None = None) -> str:
        """Return a token of `user`: a new one unless given."""
        token = token or secrets.token_urlsafe(24)
        self.tokens[token] = user
        return token

    def authenticate(self, authorization: str, certificate: User | None) -> User:
        """Return the user of the request. Raises Refused for an unknown token."""
        if certificate is not None:
            return certificate
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            user = self.tokens.get(token.strip())
            if user is not None:
                return user
            if self.require or self.tokens:
                raise unauthorized()
        return ANONYMOUS if self.require else ADMIN

    def allows(self, user: User, verb: str, target: Target) -> bool:
        if user == ANONYMOUS:
            return False
        if self.rules is None or MASTERS in user.groups:
            return True
        return any(rule.allows(user, verb, target) for rule in (*_BASIC, *self.rules))

    def allows_path(self, user: User, verb: str, path: str) -> bool:
        if path in ("/healthz", "/livez", "/readyz", "/version"):
            return True
        if user == ANONYMOUS:
            return False
        if self.rules is None or MASTERS in user.groups:
            return True
        return any(rule.allows_path(user, verb, path) for rule in (*_BASIC, *self.rules))


def _subject(subject: Mapping[str, Any], namespace: str | None) -> User:
    match subject["kind"]:
        case "ServiceAccount":
            return User(service_account(subject.get("namespace") or namespace or "", subject["name"]).name)
        case "Group":
            return User("", (subject["name"],))
        case _:
            return User(subject["name"])


def _is(subject: User, user: User) -> bool:
    return subject.name == user.name if subject.name else subject.groups[0] in user.groups


def _covers(allowed: frozenset[str], wanted: str) -> bool:
    return "*" in allowed or wanted in allowed


def _set(rule: Mapping[str, Any], key: str) -> frozenset[str]:
    return frozenset(rule.get(key) or ())
