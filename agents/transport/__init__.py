"""Faust transports that give an agent one message per topic-partition fetch.

`tidegate://` fetches with librdkafka, `tidegate-aiokafka://` with aiokafka; group, assignor and
commits are aiokafka's in both.
"""

from tidegate.agents.transport.aiokafka_fetch import AiokafkaTransport
from tidegate.agents.transport.consumer import BatchConsumer
from tidegate.agents.transport.flow import Batching, Flow, TopicPartition
from tidegate.agents.transport.librdkafka_fetch import HybridTransport

__all__ = [
    "AiokafkaTransport",
    "BatchConsumer",
    "Batching",
    "Flow",
    "HybridTransport",
    "TopicPartition",
]
