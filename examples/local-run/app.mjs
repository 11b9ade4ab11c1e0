import { shop } from './shop.mjs';

shop().synth();
