// Package catalog tells what models can be told, what they cost and how long they take, before anything is submitted. It
// puts together what want, spend/price and the learned forecasts know, and by the schemas that
// providers serve, which it is handed.
package catalog
