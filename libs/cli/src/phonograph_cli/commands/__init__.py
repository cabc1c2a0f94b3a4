"""The commands of `phonograph`: each reads its options, runs one coroutine and prints the outcome."""
