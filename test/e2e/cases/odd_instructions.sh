$P/odd_instructions
