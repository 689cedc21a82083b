"""Fine-tuning on demonstrations."""
