"""What is due: start campaigns, plan recipients, choose work, repair what killed workers left."""
