"""What one refund went through, as a page for people: support, evidence, print."""
