"""The serving client: what a service imports to take part in experiments."""

from tidegate.agents.client.client import Client, RoutingInForce
from tidegate.agents.client.options import ClientOptions
from tidegate.agents.client.predictor import Answer
from tidegate.agents.client.tables import InForce

__all__ = ["Answer", "Client", "ClientOptions", "InForce", "RoutingInForce"]
