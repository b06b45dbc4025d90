"""What is deployed against the limits of AWS that it could outgrow."""
