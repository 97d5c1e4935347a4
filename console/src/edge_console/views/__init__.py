"""What the page shows, as JSON values. Pure functions of the objects that a viewer may see.

Objects are read as the API server has them, without a model of the kinds: a page of 500 services is made from
them every second. Units: seconds, bytes, bit/s; shares from 0 to 1.
"""
