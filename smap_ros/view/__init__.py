"""People in a browser: what is drawn, as arrays, and the page that shows it."""
