"""Speech recognisers behind one Protocol, and the models that they need."""
