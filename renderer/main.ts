/** @file Starts the workbench. */
import './transport/without-eval.ts';
import '@fontsource-variable/inter/index.css';
import 'uplot/dist/uPlot.min.css';
import './ui/tokens.css';
import './ui/base.css';
import { mount } from 'svelte';
import App from './App.svelte';
import { createTransport } from './transport/index.ts';

mount(App, { target: document.getElementById('app')!, props: { client: createTransport() } });
