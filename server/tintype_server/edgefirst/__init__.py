"""The dialect of the EdgeFirst client: JSON-RPC at ``/edgefirst/api``, forms, and two addresses of files."""
