"""From the Elastic CI Stack for AWS: its parameters, what becomes of each, and the files that come out."""
