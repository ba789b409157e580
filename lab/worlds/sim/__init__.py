"""A world on a virtual clock: HAProxy, containers and load as a discrete-event simulation.

plant      what is simulated: `balancer` (over `queueing`), `containers`, `traffic`, `clock`
world      the scaler's side: observations, and actions (`jobs`)
coarse     the same without single requests, for days and a thousand servers
faults     what can be made to go wrong
parameters every number that is taken for given, with its unit and source
"""
