"""The parts of the RabbitMQ adapter. Nothing outside it imports aio-pika, or aiormq, on which that stands.

The adapter works one floor below aio-pika's own objects, on aiormq's connections and channels: there, hundreds of
events are one write, and what happens to a channel that is lost is ours to decide.
"""
