/** @file How the workbench looks to this person: theme and text size, kept in this browser. */
export type Theme = 'system' | 'light' | 'dark';
export const TEXT_SIZES = [1, 1.15, 1.3] as const;

const THEMES: readonly Theme[] = ['system', 'light', 'dark'];
const systemDark = matchMedia('(prefers-color-scheme: dark)');

class Look {
  theme = $state<Theme>(THEMES.find((theme) => theme === localStorage.getItem('fettle.theme')) ?? 'system');
  scale = $state<number>(TEXT_SIZES.find((size) => String(size) === localStorage.getItem('fettle.text')) ?? 1);
  #system = $state(systemDark.matches);
  readonly dark = $derived(this.theme === 'system' ? this.#system : this.theme === 'dark');

  constructor() {
    systemDark.addEventListener('change', (event) => (this.#system = event.matches));
    this.#apply();
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    localStorage.setItem('fettle.theme', theme);
    this.#apply();
  }
  setScale(scale: number): void {
    this.scale = scale;
    localStorage.setItem('fettle.text', String(scale));
    this.#apply();
  }

  #apply(): void {
    const { documentElement: root } = document;
    if (this.theme === 'system') delete root.dataset['theme'];
    else root.dataset['theme'] = this.theme;
    root.style.setProperty('--text-scale', String(this.scale));
  }
}

export const look = new Look();
