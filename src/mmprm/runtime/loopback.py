"""Keep what the processes of one machine say to each other on that machine. In: an environment. Out: the same, changed.

What gloo, NCCL and vLLM open for each other believes whoever connects to it, and torch's stores unpickle what they are
told: without these variables they listen on the address of the machine's name, where its neighbours reach them.
"""

import sys
from collections.abc import MutableMapping

_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


def stay_here(environment: MutableMapping[str, str]) -> None:
    """Set the variables that bind processes to the loopback interface, whatever a cluster's modules set them to."""
    environment["VLLM_HOST_IP"] = environment["VLLM_LOOPBACK_IP"] = "127.0.0.1"
    if sys.platform == "linux":
        environment.update(dict.fromkeys(_INTERFACES, "lo"))
