"""The election of DESIGN.md section 7 and the commit rule of section 6 as one pure machine: `machine.step`.

No I/O, no clock, no randomness: time is an argument (seconds of CLOCK_BOOTTIME), what is to be done comes back as
effects. Whoever runs the machine gives it one event at a time and carries the effects out in their order.
"""
