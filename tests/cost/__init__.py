"""What a deployment costs: counted in a played world, priced by dated list prices."""
