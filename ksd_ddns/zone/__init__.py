"""The pure core: values and rules, no sockets, no clock, no settings, no logging, no Kubernetes."""
