"""How a service is planned beside the others of its pool, and how it would be if something changed.

`ei` prints it. Everything is planned by the functions of the operator's loops, and nothing is written.
"""
