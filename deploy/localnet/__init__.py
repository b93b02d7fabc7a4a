"""A Stellar RPC that plays a recorded history: the chain of the demo and of the tests, and no part of what is deployed."""

from deploy.localnet.chain import Build
from deploy.localnet.faults import Fault
from deploy.localnet.net import STORY, Localnet, serve

__all__ = ["STORY", "Build", "Fault", "Localnet", "serve"]
