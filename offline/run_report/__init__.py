"""Run report: one HTML file without a network, that shows the data, the training and what was gained."""
