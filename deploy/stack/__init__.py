"""The local stack: a real Kafka and a real PostgreSQL on this machine, without Docker, root or a system Java.

    async with stack.kafka() as kafka, stack.postgres() as postgres:
        kafka.bootstrap_servers                        # 127.0.0.1:PORT
        await postgres.create_database("chain")        # postgresql://postgres:…@127.0.0.1:PORT/chain

Both listen on 127.0.0.1 alone, on free ports, and keep their data in a temporary directory unless given one. `stop`,
`kill` (as a crash) and `start` act on the running server; data, port and password stay. Whatever ends this process, by
kill -9 too, ends the servers and removes the temporary directories (keeper.py).

It needs the extra `local`, and downloads Kafka's jars once (jars.py).
"""

from deploy.stack.failure import StackFailed
from deploy.stack.jars import Progress
from deploy.stack.kafka_security import KafkaSecurity
from deploy.stack.kafka_server import Kafka, kafka
from deploy.stack.postgres_server import Databases, Postgres, postgres

__all__ = ["Databases", "Kafka", "KafkaSecurity", "Postgres", "Progress", "StackFailed", "kafka", "postgres"]
