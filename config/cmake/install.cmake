# Installing: to be filled.
