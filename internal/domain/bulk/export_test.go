package bulk

// Batch works the next lines of an import.
var Batch = (*Service).batch

// BatchLines is how many at most.
const BatchLines = batchLines
