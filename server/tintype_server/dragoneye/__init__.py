"""The Dragoneye dialect: prediction tasks of another API over this server's tools.

app       its four addresses, and how it says no
archive   results as a ZIP of Parquet files
"""
