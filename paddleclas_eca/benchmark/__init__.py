"""Side-by-side measurements of speed and memory: any set of networks, taking turns in one run.

Each subject is a process of its own (:mod:`.workers`), which holds a network and runs it when it
is told to: one subject's memory, threads and settings do not touch another's, and a subject may
live in another framework or environment. The subjects take turns, forward and then backward
(A, B, B, A), so that a machine that gets slower or faster does so for all of them; what is
reported is the ratio to the first subject within each round, its median and its quartiles
(:mod:`.measure`).
"""
