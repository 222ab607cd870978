"""What runs the product beyond one process: images, secrets, monitoring, the chart for Kubernetes."""
