"""Delivery guarantees, job leases, migrations, object store and the service shell."""
