# SPDX-License-Identifier: Apache-2.0
"""One VMI, as the API server has it now."""

from urllib.parse import quote

import msgspec

from ksd_ddns.cluster.api import Api
from ksd_ddns.cluster.http_errors import Missing
from ksd_ddns.errors import SourceError
from ksd_ddns.kubevirt.vmi_object import VmiObject


def vmi_object(api: Api, key: str) -> VmiObject | None:
    """Return the VMI `namespace/name`, None if there is none. Raises SourceError."""
    namespace, _, name = key.partition("/")
    path = f"/apis/kubevirt.io/v1/namespaces/{quote(namespace, safe='')}/virtualmachineinstances/{quote(name, safe='')}"
    try:
        return msgspec.json.decode(api.get(path, {}), type=VmiObject)
    except Missing:
        return None
    except (msgspec.DecodeError, RecursionError) as e:
        raise SourceError(f"the API server {api.host} answered {path} with something that is not a VMI") from e
