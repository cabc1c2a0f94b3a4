#!/bin/bash
# The health check of docker-compose.yml: succeeds when the server listens.
IFS=: read -r host port <<< "$2"
exec 3<> "/dev/tcp/$host/$port"
