$P/exceptions
