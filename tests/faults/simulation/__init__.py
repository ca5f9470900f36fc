"""A deterministic simulation: brokers, workers, crashes and lost messages, without any process.

Run by ``test_simulation`` and by people (``python -m tests.faults.simulation --runs 10000``). The
core that answers (``Matcher``) and the protocol of a partition (``stream.partition``) are the real
ones; the broker's logs with their producer epochs, the network, the group and the clock are
imitated, each in its smallest form that can still do harm: a batch may arrive late, twice, after
its sender's death or after its fence; an acknowledgement may be lost; of what is under way some
logs may get their part and others not. One scheduler, drawing from a seed, decides which of the
possible steps comes next, so a seed is a run. It must never know how a real broker is spoken to.

A run is right if what the logs hold in the end, whatever happened on the way, is what an engine
that nobody interrupted says of the same history: the same decisions of each check, in order, the
same alerts and rejects, each once, and the same volumes, stock and unit states.

``history`` is what is sent, ``broker`` the logs, ``worker`` what a worker does with them one step
at a time, ``run`` the scheduler and the faults, ``outcome`` what came of it and what is right,
``play`` many runs over histories.
"""
