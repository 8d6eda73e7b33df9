"""A model of several nodes, their Redis, network and clocks, in which the real election machine runs.

`python -m election_model --schedules N --seed S` in the folder `tests`.
"""
