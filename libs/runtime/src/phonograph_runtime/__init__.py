"""Delivery guarantees, job leases, migrations, object store and the application of every service."""
