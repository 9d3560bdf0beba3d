"""What holds for both servers: how many answers, how many threads, what all addresses are called."""

# One answer per second for the same question from the same network is what resolvers need, with a TTL of a minute.
# Many clients behind few resolvers ask for many names that do not exist, so the limit is far above that; and because
# every answer beyond it goes out truncated instead of being dropped (slip 1), a resolver merely comes back over TCP.
ANSWERS_PER_SECOND = 1000

# Threads. A server that starts one per core of a 64-core node would outgrow its container.
WORKERS = 2

ALL_V4 = "0.0.0.0"  # noqa: S104 - compared with, never bound to
ALL = "::"
