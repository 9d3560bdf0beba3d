"""The Kubernetes API: VMIs listed and watched, on the official client's configuration and transport."""
