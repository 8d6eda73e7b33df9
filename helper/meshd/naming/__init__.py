"""Names of members: the hosts file and the DNS server."""
