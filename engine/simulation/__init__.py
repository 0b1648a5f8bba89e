"""The simulator: recorded sessions in virtual time, one policy beside another.

It reads no clock and draws nothing at random: the same arguments give the same bytes.
"""
