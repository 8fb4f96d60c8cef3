"""The Pictograph REST dialect: names and shapes of another API over this server's tools."""
