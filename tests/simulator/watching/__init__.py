"""What people see of a deployment: its metrics as CloudWatch would keep them, alarms, and dashboard as a picture."""
